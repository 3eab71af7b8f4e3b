"""Every query of the project as a file: schema/, load/ and explore/."""
