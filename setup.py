"""Distribution `tidewatch`; also what Beam's ``--setup_file=./setup.py`` ships to workers."""

from setuptools import find_packages, setup

setup(
    name="tidewatch",
    version="0.1.0",
    description="Streaming time-series anomaly detection on Apache Beam",
    python_requires=">=3.11",
    package_dir={"": "."},
    packages=find_packages(
        include=[
            f"{package}{deep}"
            for package in ("detectors", "transforms", "pipeline", "runners")
            for deep in ("", ".*")
        ]
    ),
    install_requires=[
        "apache-beam[gcp,aws]>=2.77,<2.78",
        "numba>=0.62,<0.70",
        "numpy>=2.0,<2.5",
        "orjson>=3.10,<4",
        "pyarrow>=18,<26",
        "pydantic>=2.10,<3",
        "PyYAML>=6,<7",
        "rich>=13,<16",
        "tzdata",
    ],
    extras_require={
        "examples": ["altair>=5.5,<7", "vl-convert-python>=1.7,<2"],
        "lake": ["boto3>=1.35,<2", "duckdb>=1.4,<3", "sqlglot>=27,<31"],
        "dashboard": ["altair>=5.5,<7", "streamlit>=1.50,<2"],
        "test": [
            "hypothesis>=6.100,<7",
            "moto[glue,s3,server]>=5.1,<6",
            "mypy>=1.15,<3",
            "pandas>=2.2,<4",
            "pytest>=8,<10",
            "ruff>=0.9,<1",
            "selenium>=4.25,<5",
            "types-PyYAML",
        ],
        "benchmarks": ["stumpy>=1.14,<2"],
    },
)
