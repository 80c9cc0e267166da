"""Faísca's operator for Airflow."""

__version__ = "0.1.0"


def get_provider_info():
    """Returns the entry in Airflow's list of providers."""
    return {
        "package-name": "faisca-airflow",
        "name": "Faísca",
        "description": "Distributed dataframe and SQL jobs on Kubernetes.",
        "versions": [__version__],
    }
