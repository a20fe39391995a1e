"""What is drawn. Widgets show what they are given and say what the user did; `app` connects."""
