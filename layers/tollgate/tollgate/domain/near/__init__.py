"""Answers to other words of the same question: rules that must agree, and a guard on how often they are wrong."""
