"""Models that llama.cpp runs itself: pictures are read by its libmtmd and stand in the text as rows
of embeddings. Nothing is injected. The only room that calls libmtmd."""
