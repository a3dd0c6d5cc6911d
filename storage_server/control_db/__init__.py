"""Who may do what, in SQL: tables and functions over a session; the caller owns the transaction."""
