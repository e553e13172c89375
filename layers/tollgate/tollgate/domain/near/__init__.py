"""Answers to differently worded questions: rules that must agree, and a guard on how often they are wrong."""
