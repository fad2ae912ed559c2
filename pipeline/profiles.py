"""Where platform profiles come from: the ones shipped, then the user's folder, which wins."""

from importlib.resources import files
from pathlib import Path

from detectors._profiles import Profile, ProfileError, Profiles, parse_profile

__all__ = ["ProfileError", "load_profiles"]


def load_profiles(folder: Path | None = None) -> Profiles:
    """Read the shipped profiles and every `*.toml` of `folder`.

    Raises:
        ProfileError: A profile is wrong, or the folder cannot be read; the message names file and key.
    """
    profiles: list[Profile] = [
        parse_profile(entry.read_text("utf-8"), entry.name)
        for entry in files("detectors").joinpath("profiles").iterdir()
        if entry.name.endswith(".toml")
    ]
    if folder is not None:
        if not folder.is_dir():
            raise ProfileError(str(folder), ["no such folder (setting profiles_dir)"])
        try:
            profiles += [parse_profile(path.read_text("utf-8"), str(path)) for path in sorted(folder.glob("*.toml"))]
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(str(folder), [str(error)]) from error
    return Profiles.ordered(profiles)
