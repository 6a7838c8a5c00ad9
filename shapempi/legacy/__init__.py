"""The products of a run as the reference system leaves them: one module of ours for each, one folder of theirs."""
