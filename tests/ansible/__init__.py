"""Site.yml, its playbooks and its tags, through ansible-runner."""
