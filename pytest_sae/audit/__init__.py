"""The audit of the metrics themselves: do they say what is true, where the truth is known?

gather(world, size, store) -> WorldAudit          # `gather`: measure a panel on a world
judge(worlds) -> list[AuditMetric]                # `questions`: five questions to every metric
document(audit) -> str                            # `document`: docs/audit.md
"""
