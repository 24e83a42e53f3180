-- Every series: its anomalies, and how it stands at its newest row; most anomalies first.
WITH newest_day AS (
  SELECT detectorname, timeseriesid, max("date") AS day
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
    AND detectionperiodstarttime >= :from_time
    AND detectionperiodstarttime < :to_time
    AND (:detector = '' OR detectorname = :detector)
    AND (:series = '' OR timeseriesid = :series)
  GROUP BY detectorname, timeseriesid
), newest AS (
  SELECT
    results.detectorname,
    results.timeseriesid,
    max(measure) AS measure,
    max(:dimensions) AS dimensions,
    max(detectionperiodstarttime) AS last_time,
    max_by(processeddatapoints, detectionperiodstarttime) AS points,
    max_by(anomalyconfidencescore, detectionperiodstarttime) AS confidence,
    max_by(modelstage, detectionperiodstarttime) AS stage
  FROM results
  JOIN newest_day
    ON results."date" = newest_day.day
    AND results.detectorname = newest_day.detectorname
    AND results.timeseriesid = newest_day.timeseriesid
  WHERE detectionperiodstarttime >= :from_time
    AND detectionperiodstarttime < :to_time
    AND "date" BETWEEN :first_date AND :last_date
  GROUP BY results.detectorname, results.timeseriesid
), anomalous AS (
  -- a row that came twice has one start and one number; their columns are smaller than resultid
  SELECT DISTINCT
    detectorname, timeseriesid, detectionperiodstarttime, processeddatapoints, anomalyscore
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
    AND detectionperiodstarttime >= :from_time
    AND detectionperiodstarttime < :to_time
    AND (:detector = '' OR detectorname = :detector)
    AND (:series = '' OR timeseriesid = :series)
    AND anomalydecision = 1
), anomaly AS (
  SELECT
    detectorname,
    timeseriesid,
    count(*) AS anomalies,
    max(anomalyscore) AS peak_score,
    max(detectionperiodstarttime) AS last_anomaly
  FROM anomalous
  GROUP BY detectorname, timeseriesid
)
SELECT
  newest.detectorname AS detector,
  newest.measure,
  newest.timeseriesid AS series,
  :dimensions AS dimensions,
  newest.last_time,
  newest.points,
  newest.confidence,
  newest.stage,
  coalesce(anomaly.anomalies, 0) AS anomalies,
  anomaly.peak_score,
  anomaly.last_anomaly
FROM newest
LEFT JOIN anomaly
  ON anomaly.detectorname = newest.detectorname
  AND anomaly.timeseriesid = newest.timeseriesid
ORDER BY anomalies DESC, series, detector
LIMIT :rows
