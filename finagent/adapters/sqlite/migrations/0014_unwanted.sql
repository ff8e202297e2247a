-- An entry that a flatten, a kill or the ladder wants gone while it is on its way: the reason, '' for none.
ALTER TABLE broker_order ADD COLUMN unwanted TEXT NOT NULL DEFAULT '';
