"""/api/v1/users/ and below."""
