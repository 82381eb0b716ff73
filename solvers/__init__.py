"""Pure and synchronous: a problem goes in, a solution comes out. No network, no files, no database."""
