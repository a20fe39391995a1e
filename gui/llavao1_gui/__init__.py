"""The desktop app: drop a picture, ask, see how it thought. `app.main` starts it.

`state` knows what is shown (no Qt), `work` runs processes and threads, `widgets` draws, `app`
connects them. The model runs in a process of its own: whatever happens to it, the window stays.
"""
