-- Alerts a day and detector beside the budget of so many a series and week.
WITH anomaly AS (
  SELECT DISTINCT
    "date" AS day, detectorname, timeseriesid, detectionperiodstarttime, processeddatapoints,
    resultid, coalesce(decisionreason LIKE 'quiet period%', FALSE) AS quiet
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
    AND anomalydecision = 1
), followed AS (
  SELECT
    anomaly.*,
    processeddatapoints - lag(processeddatapoints) OVER series AS rows_since,
    lag(quiet) OVER series AS was_quiet
  FROM anomaly
  WINDOW series AS (
    PARTITION BY detectorname, timeseriesid ORDER BY detectionperiodstarttime, resultid
  )
), opened AS (
  SELECT day, detectorname, count(*) AS alerts
  FROM followed
  WHERE NOT quiet
    AND (rows_since IS NULL OR was_quiet OR rows_since NOT BETWEEN 1 AND :recovery_after)
  GROUP BY day, detectorname
), tracked AS (
  SELECT "date" AS day, detectorname, count(DISTINCT timeseriesid) AS series
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
  GROUP BY "date", detectorname
)
SELECT
  tracked.day,
  tracked.detectorname AS detector,
  tracked.series,
  coalesce(opened.alerts, 0) AS alerts,
  tracked.series * CAST(:alerts_per_week AS double) / 7 AS budget,
  coalesce(opened.alerts, 0) > tracked.series * CAST(:alerts_per_week AS double) / 7 AS over_budget
FROM tracked
LEFT JOIN opened ON opened.day = tracked.day AND opened.detectorname = tracked.detectorname
ORDER BY tracked.day, tracked.detectorname
