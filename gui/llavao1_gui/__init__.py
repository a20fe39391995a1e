"""The desktop app. Empty for now: it is built in a later step."""
