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
    package_data={
        "runners": ["*/pom.xml", "*/*/pom.xml", "flink_job_server/src/**/*.java", "flink_worker.sh"]
    },
    install_requires=[
        "apache-beam[gcp,aws]>=2.77,<2.78",
        "apprise>=1.9,<3",
        "aws-msk-iam-sasl-signer-python>=1.0.2,<2",
        "boto3>=1.36,<2",
        "confluent-kafka>=2.10,<3",
        "numba>=0.62,<0.70",
        "numpy>=2.0,<2.5",
        "orjson>=3.10,<4",
        "pyarrow>=18,<26",
        "pydantic>=2.10,<3",
        "PyYAML>=6,<7",
        "requests>=2.32,<3",
        "rich>=13,<16",
        "tenacity>=9,<10",
        "tzdata",
    ],
    extras_require={
        "examples": ["aiosmtpd>=1.4.6,<2", "altair>=5.5,<7", "vl-convert-python>=1.7,<2"],
        "verify": ["duckdb>=1.4,<3"],
        "lake": ["duckdb>=1.4,<3", "sqlglot>=27,<31"],
        "ingest": ["psycopg[binary]>=3.2,<4"],
        "dashboard": ["altair>=5.5,<7", "streamlit>=1.50,<2"],
        "test": [
            "aiosmtpd>=1.4.6,<2",
            "aws-kinesis-agg>=1.2,<2",
            "duckdb>=1.4,<3",
            "hypothesis>=6.100,<7",
            "moto[glue,kinesis,s3,server,sns]>=5.1,<6",
            "mypy>=1.15,<3",
            "pandas>=2.2,<4",
            "pytest>=8,<10",
            "ruff>=0.9,<1",
            "selenium>=4.25,<5",
            "types-PyYAML",
            "types-psutil",
            "types-requests",
        ],
        "cluster": ["moto[server]>=5.1,<6", "psutil>=6,<8"],
        "benchmarks": ["stumpy>=1.14,<2"],
    },
)
