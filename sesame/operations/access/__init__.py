"""Access: activation, provisioning, holds, and what time takes away."""
