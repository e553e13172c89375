"""The OpenAPI document of the gateway, made from the rules that its bodies are checked with."""
