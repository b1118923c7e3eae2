"""Chat settings: what may be sent with a question, and what is kept of it."""
