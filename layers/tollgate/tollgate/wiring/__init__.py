"""What the functions are made of, on AWS; a floor above all others, from which each function takes what it needs.

Every part is made when it is first asked for, and nothing is connected before the first call or event.
"""
