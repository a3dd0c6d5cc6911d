"""Who may do what, in SQL: tables and functions over a session; the caller owns the transaction.

Services open a transaction with ``session.ControlDb`` and call the functions of one module per
aggregate. These return frozen views (``views.py``), refuse with typed errors (``errors.py``), move
the revision of whatever changed and keep a tombstone of whatever was deleted. What the data path is
told of all this is said by ``projected.py``.
"""
