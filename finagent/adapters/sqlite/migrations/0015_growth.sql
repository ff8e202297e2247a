-- What is asked at each tick and decision must not take longer with each day that was traded.
CREATE INDEX trade_result ON trade (exit_session, pnl);
CREATE INDEX fill_recorded ON fill (recorded_seq);
