"""The backend with one of its pieces replaced: `backend_with NAME`."""

from integration.leaks.launching import launch
from services.backend.main import main

if __name__ == "__main__":
    launch("backend", main)
