"""AnyBooks whole and live: from the shop's database to a page, a mail and an SNS message."""
