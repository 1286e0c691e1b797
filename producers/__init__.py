"""Those who publish facts, and nothing else: the registrar's feed, activation, replay."""
