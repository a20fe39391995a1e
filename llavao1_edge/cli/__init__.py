"""The command line, a file per command. Knows how to talk to people and nothing about models."""
