"""What clipcli.toml and the environment say of a command's options."""
