"""ctypes over the one ggml that llama-cpp-python has loaded: tensors, graphs, backends, quantising.

Knows no model, no file format and no llama.cpp. Everything native here has one owner that frees it.
"""
