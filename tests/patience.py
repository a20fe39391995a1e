"""How long tests wait for what should come: machines that run tests may be busy.

It bounds a test that hangs and says nothing of speed; no test asserts how long something takes.
"""

PATIENCE_S = 180.0
