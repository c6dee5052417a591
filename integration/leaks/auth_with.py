"""Auth with one of its pieces replaced: `auth_with NAME`."""

from integration.leaks.launching import launch
from services.auth.main import main

if __name__ == "__main__":
    launch("auth", main)
