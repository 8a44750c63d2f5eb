"""The ledger of claims: what the pages say was measured, when it was last measured, and whether what it depends on has changed since."""
