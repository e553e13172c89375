"""Calls to AWS without boto3: signed, sent over kept connections, tried again; what goes wrong as exceptions."""
