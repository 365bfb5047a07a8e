"""How a destination loads: the steps of a load, in one order, and the ledger that says what was loaded."""
