"""How it is carried: the event log, the engine, the store, and the loop that joins them."""
