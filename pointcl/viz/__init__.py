"""Pictures of scans: drawn without a screen, or as one file that a browser opens."""
