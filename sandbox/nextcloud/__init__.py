"""A stand-in for Nextcloud's provisioning API (OCS), odd answers included."""
