"""An HTTP server that speaks the OpenAI protocol. The model runs in a process of its own.

`request` reads what clients send, `worker` answers it behind a pipe (`wire`), `process` keeps that
process alive and the queue in front of it, `app` is the HTTP side, `reply` writes what clients get.
"""
