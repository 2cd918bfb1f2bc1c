"""The environment of what runs a model's code: a list of what it gets.

Whatever else the caller's environment holds stays with the caller, and that may be the token of a baseline's server, of
the hub, or of something that Audition never heard of. Addresses of proxies and of package indexes hold passwords too:
an engine needs no network, and an installation only its own.
"""

from collections.abc import Mapping

_SPEAKING = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LIBRARY_PATH",
    "CC", "CXX", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "XDG_CACHE_HOME", "ESPEAK_DATA_PATH",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "TOKENIZERS_PARALLELISM",
)  # fmt: skip
_SPEAKING_BEGIN = (
    "LC_", "CUDA_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "PYTORCH_", "TORCHINDUCTOR_", "TRITON_",
)  # fmt: skip
"""Settings of libraries that compute, by name: what they are worth no secret can be."""
_INSTALLING = (
    "AUDITION_BUILD_NETWORK", "CFLAGS", "CXXFLAGS", "LDFLAGS", "MAX_JOBS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "NETRC", "SOURCE_DATE_EPOCH", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY", "GIT_SSH_COMMAND",
)  # fmt: skip
_INSTALLING_BEGIN = ("PIP_", "DOCKER_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY")


def for_engine(environment: Mapping[str, str]) -> dict[str, str]:
    """Return of `environment` what an engine is given."""
    return {
        name: value
        for name, value in environment.items()
        if name in _SPEAKING or name.startswith(_SPEAKING_BEGIN)
    }


def for_installing(environment: Mapping[str, str]) -> dict[str, str]:
    """Return of `environment` what a step of an installation is given: also how pip, git and Docker reach theirs."""
    further = {
        name: value
        for name, value in environment.items()
        if name in _INSTALLING or name.upper().startswith(_INSTALLING_BEGIN)
    }
    return for_engine(environment) | further
