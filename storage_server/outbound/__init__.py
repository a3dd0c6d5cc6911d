"""Where we are the client: identity providers and other servers; each with timeout and bound."""
