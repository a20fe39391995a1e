"""What the window shows and keeps, without Qt: messages, live answer, history, preferences."""
