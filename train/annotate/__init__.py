"""Questions with answers → four-stage answers in LLaVA-CoT-100k's own format, by a teacher.

A teacher is any model that sees, behind OpenAI's protocol. Knows no training.
"""
