"""How fast is a pair on this machine, phase by phase, and how far from what the machine can do?"""
