"""What the Docker and Kubernetes deployments need before their first start: secrets, certificates, roles."""
