"""Every event and the account, typed, with their JSON Schemas and the CloudEvents envelope."""
