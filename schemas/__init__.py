"""Events and the account, typed, with JSON Schemas and the CloudEvents envelope."""
