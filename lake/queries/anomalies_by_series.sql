-- Series with anomalies, most first: how many, the highest score, the first and the last.
SELECT
  detectorname AS detector,
  measure,
  timeseriesid AS series,
  max(:dimensions) AS dimensions,
  count(DISTINCT resultid) AS anomalies,
  max(anomalyscore) AS peak_score,
  min(detectionperiodstarttime) AS first_time,
  max(detectionperiodstarttime) AS last_time
FROM results
WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
  AND anomalydecision = 1
GROUP BY detectorname, measure, timeseriesid
ORDER BY anomalies DESC, series
LIMIT :rows
