"""params.yaml and profiles, typed; and what each stage instance is configured with."""
