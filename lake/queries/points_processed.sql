-- Number of Datapoints Processed, of each detector: the rows that its series' models have learnt.
WITH learnt AS (
  SELECT detectorname, timeseriesid, max(processeddatapoints) AS points
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
  GROUP BY detectorname, timeseriesid
)
SELECT detectorname AS detector, CAST(sum(points) AS bigint) AS points
FROM learnt
GROUP BY detectorname
ORDER BY detector
