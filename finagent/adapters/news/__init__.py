"""Headlines, messages and earnings dates by source."""
