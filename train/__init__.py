"""How the embedded demo model was made. Needs torch; nothing outside this folder imports it."""
